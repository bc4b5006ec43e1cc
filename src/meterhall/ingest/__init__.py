"""The one way in: scrapes, pushes and agent reports meet here before the log."""
