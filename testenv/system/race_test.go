//go:build race

package system

// raced reports whether the race detector watches.
const raced = true
