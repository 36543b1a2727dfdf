"""Many prompts at once: a folder of images and a manifest, the same bytes however often drawing was interrupted."""
