//go:build !race

package others

// raced reports whether the race detector is on.
const raced = false
