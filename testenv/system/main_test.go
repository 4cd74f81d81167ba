package system

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"swerve/testenv/lab"
)

var seed = flag.Uint64("seed", 1, "of all random choices")

// The paths of cmd/swerve as TestMain built it, by lab.BuildPair.
var daemonBinary, commandBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// run builds the daemon like the tests, and runs them.
func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "swerve-system-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "system: make a folder for the binary:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	commandBinary, daemonBinary, err = lab.BuildPair(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, "system:", err)
		return 1
	}
	return m.Run()
}
