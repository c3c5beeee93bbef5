"""The real side of each dream: the real twin's preprocessing, and scripted drivers that record experience in it."""
