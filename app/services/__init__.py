"""What the pages ask for, without any page: plain functions and small frozen records."""
