"""How it is given to others: what is sent and what stays at home, the card, the licence, the Hugging Face Hub."""
