"""Laws that tell a loss from a mixture: how each is fitted, and how they are judged by runs they have not seen."""
