// Package testenv holds no code. Its folders have all that tests, the demo and the
// benchmarks need and the product does not: see docs/CODE_MAP.md. The scripts here
// run them on the machine at hand:
//
//   - as-root: a command as root, or as the root of a user namespace
//   - run-tests: go test, without the tests that the user has no rights for
//   - rights: the list of these tests
//   - need: installs missing Debian packages
package testenv
