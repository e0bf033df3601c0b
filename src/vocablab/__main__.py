"""`python -m vocablab`: the command line, as torchrun starts it."""

from vocablab.lab.cli import main

main()
