"""An app whose model refers to conversations, as those of projects do."""
