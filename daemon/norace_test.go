//go:build !race

package daemon

// raced reports whether the race detector is on.
const raced = false
