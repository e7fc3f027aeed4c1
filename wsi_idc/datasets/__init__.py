"""Named patches in folders, zip files and patch stores."""
