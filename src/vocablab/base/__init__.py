"""Ground floor: configs, records, files, random streams, errors. Imports nothing else of vocablab, and no torch."""
