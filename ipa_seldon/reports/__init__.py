"""What the HTML reports share: the page, how charts look, how figures read."""
