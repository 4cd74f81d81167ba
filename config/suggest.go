package config

// nearest returns the word most like the given one, the first of several, and
// reports whether any is like it enough to be what a person meant.
func nearest(word string, words []string) (string, bool) {
	if len(word) > maxKeyLength {
		return "", false
	}
	best, least := "", allowedEdits(word)+1
	for _, w := range words {
		if n := edits(word, w); n < least {
			best, least = w, n
		}
	}
	return best, best != ""
}

// allowedEdits is how many slips of the finger a word of this length may have.
func allowedEdits(word string) int {
	switch n := len(word); {
	case n <= 4:
		return 1
	case n <= 8:
		return 2
	default:
		return 3
	}
}

// edits is the number of letters to insert, delete, replace or swap with their
// neighbour that turn a into b (the optimal string alignment distance).
func edits(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
