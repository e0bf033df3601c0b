"""Export to Hugging Face, proved equal before it is published."""
