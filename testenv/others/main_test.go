package others

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"swerve/testenv/lab"
)

// folder has the programs: it is what the script of that name prints.
var folder = flag.String("others.programs", "", "run the programs in this folder; empty: only what ip(8) and nft(8) can do")

// daemonBinary and commandBinary are cmd/swerve, the first as TestMain built it for the
// tests' own kind, and the second for commands.
var daemonBinary, commandBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	work, err := os.MkdirTemp("", "swerve-others-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "others: make a folder for the binary:", err)
		return 1
	}
	defer os.RemoveAll(work)
	commandBinary, daemonBinary, err = lab.BuildPair(work)
	if err != nil {
		fmt.Fprintln(os.Stderr, "others:", err)
		return 1
	}
	return m.Run()
}
