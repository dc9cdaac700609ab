"""What the pages show: their code blocks run, their options exist, and the site that is built of them."""
