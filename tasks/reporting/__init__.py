"""How results are shown: numbers, tables, figures, pages and the terminal."""
