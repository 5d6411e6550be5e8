"""Maps of codes: a plane that is made of a model's codes and what they sound like."""
