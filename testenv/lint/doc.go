// Package lint holds no code: its tests check rules for the whole project: the
// floors of its packages, the length of its functions, and that no test
// passes by being skipped.
package lint
