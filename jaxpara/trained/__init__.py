"""What a run leaves, used on recordings that no corpus lists."""
