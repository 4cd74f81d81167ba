//go:build !race

package system

// raced reports whether the race detector is on.
const raced = false
