"""Tasks: data, prompt and grader. A task never sees token ids: every arm gets the same question."""
