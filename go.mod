module github.com/tallyd/tallyd

go 1.26.0
