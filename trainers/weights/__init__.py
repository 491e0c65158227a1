"""Where the weights of a base model are, what they are, and how they are opened."""
