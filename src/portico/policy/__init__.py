"""Pure: the traffic policy language: text becomes rules, rules become values, and what is wrong is said."""
