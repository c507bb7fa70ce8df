"""The command `sublayer`: one file a verb."""
