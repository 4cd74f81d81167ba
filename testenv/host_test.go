package testenv_test

import "os/exec"

// hostCommand runs a witness on the machine itself; it only ever reads.
func hostCommand(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).Output()
	return string(out), err
}
