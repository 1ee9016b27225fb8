"""What stitches are measured by: how soon they are up, and what traffic feels when something dies."""
