"""Tasks: data, prompt and grader. Text in, text out: a task never sees token ids, so every arm gets the same question."""
