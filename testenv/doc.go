// Package testenv holds no code. Its folders contain what tests, the demo and the
// benchmarks need and the product does not: see docs/CODE_MAP.md. The scripts here
// run them on the local machine:
//
//   - as-root: a command as root, or as the root of a user namespace
//   - run-tests: go test, without the tests that need rights the user lacks
//   - rights: the list of these tests
//   - need: installs missing Debian packages
package testenv
