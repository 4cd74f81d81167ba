package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Parameters of the packages that the tests build, so that the results are known.
const (
	builtVersion = "1.2.3"
	builtEpoch   = 1700000000
)

// dist is the folder in which TestMain built the packages.
var dist string

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == confineWord {
		fmt.Fprintln(os.Stderr, "packaging: confine:", confine(os.Args[2]))
		os.Exit(125)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "swerve-packages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "packaging: make a folder for packages:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	dist = filepath.Join(folder, "dist")
	if err := makePackages(dist); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// makePackages runs make to build this machine's packages into a folder; further
// settings are assignments of make's variables.
func makePackages(into string, further ...string) error {
	cmd := exec.Command("make", "-C", "..", "packages", "ARCHES="+runtime.GOARCH, "DIST="+into,
		"VERSION="+builtVersion, fmt.Sprint("EPOCH=", builtEpoch))
	cmd.Args = append(cmd.Args, further...)
	cmd.Env = plainEnviron()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("packaging: make packages: %w\n%s", err, out)
	}
	return nil
}

// plainEnviron returns the environment without what a make that runs the tests adds.
func plainEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS")
	})
}

// built returns the path of the only package of a format.
func built(t *testing.T, in, format string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(in, "*."+format))
	if err != nil || len(found) != 1 {
		t.Fatalf("make packages left %v (%v), want one %s", found, err, format)
	}
	return found[0]
}

// output runs a command and returns what it writes to standard output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var errs strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, errs.String())
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
