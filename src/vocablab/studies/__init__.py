"""The built-in studies, one file each; nothing imports them."""
