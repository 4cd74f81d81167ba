package config

// Nearest returns the word most similar to a misspelt one, and whether it is similar
// enough to be what the person meant.
func Nearest(word string, words []string) (string, bool) { return nearest(word, words) }

// nearest returns the word most similar to the given one, the first of several. It
// reports whether it is similar enough to be what the person meant.
func nearest(word string, words []string) (string, bool) {
	if len(word) > maxKeyLength {
		return "", false
	}
	allowed := 3 // typos in a word of this length
	switch n := len(word); {
	case n <= 4:
		allowed = 1
	case n <= 8:
		allowed = 2
	}
	best, least := "", allowed+1
	for _, w := range words {
		if n := edits(word, w); n < least {
			best, least = w, n
		}
	}
	return best, best != ""
}

// edits returns how many insertions, deletions, replacements and swaps of adjacent
// letters turn a into b (the optimal string alignment distance).
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
