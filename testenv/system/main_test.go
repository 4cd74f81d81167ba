package system

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var (
	runs = flag.Int("runs", 1, "how often TestFigures plays each fault")
	seed = flag.Uint64("seed", 1, "of all that is drawn by lot")
)

// binary is the path of cmd/swerve as TestMain built it.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// run builds the daemon, the way the tests were built, and runs them.
func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "swerve-system-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "system: make a folder for the binary:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	binary = filepath.Join(folder, "swerve")
	args := []string{"build", "-o", binary}
	if raced {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "swerve/cmd/swerve")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "system: build swerve: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
