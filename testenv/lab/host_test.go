package lab

import (
	"os"
	"os/exec"
	"slices"
	"strings"
)

// hostCommand runs a command on the machine itself; it must only read.
func hostCommand(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).Output()
	return string(out), err
}

// machinesRoot reports whether this process is root on the machine itself, not only
// in a user namespace.
func machinesRoot() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"})
}
