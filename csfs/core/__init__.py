"""Names, versions, records and policies: plain values and functions of them."""
