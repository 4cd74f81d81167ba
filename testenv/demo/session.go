package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// inTmux reports whether this terminal is a pane of tmux, which can be split.
func inTmux() bool { return os.Getenv("TMUX") != "" && os.Getenv("TMUX_PANE") != "" }

// openDashboard splits the pane that the demo runs in and shows swerve tui there,
// until what it returns is called.
func openDashboard(t terminal, binary, socket string) (closeIt func(), err error) {
	direction, size, _ := t.layout()
	out, err := exec.Command("tmux", "split-window", "-d", direction, "-l", fmt.Sprint(size),
		"-t", os.Getenv("TMUX_PANE"), "-P", "-F", "#{pane_id}", binary, "tui", "--socket", socket).CombinedOutput()
	pane := strings.TrimSpace(string(out))
	if err != nil {
		return nil, fmt.Errorf("show the dashboard: tmux: %w: %s", err, pane)
	}
	return func() {
		_ = exec.Command("tmux", "kill-pane", "-t", pane).Run() // it fails where somebody has quit it
	}, nil
}

// sessionConf is tmux's configuration: a session that ends with the demo, and with
// its terminal.
//
//go:embed session.conf
var sessionConf []byte

// inSession plays the demo in a tmux server of its own, and then prints its timeline
// here: what tmux drew is gone with it.
func inSession(ctx context.Context, args []string) error {
	dir, err := os.MkdirTemp("", "swerve-demo-")
	if err != nil {
		return fmt.Errorf("show the dashboard: make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	told := filepath.Join(dir, "timeline")
	r, err := listen(told)
	if err != nil {
		return fmt.Errorf("show the dashboard: %w", err)
	}
	defer r.close()
	tmux, err := sessionCommand(ctx, dir, append(args, "-dashboard=yes", "-timeline="+told))
	if err != nil {
		return fmt.Errorf("show the dashboard: %w", err)
	}
	failed := tmux.Run()
	text, err := r.await()
	fmt.Print(text)
	if err != nil && failed != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; tmux: %w", err, failed)
	}
	return err
}

// sessionCommand is tmux with this program and these arguments in it, and its files in a
// folder. It ends with ctx.
func sessionCommand(ctx context.Context, dir string, args []string) (*exec.Cmd, error) {
	demo, err := os.Executable()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, sessionConf, 0o600); err != nil {
		return nil, err
	}
	args = append([]string{"-u", "-S", filepath.Join(dir, "tmux"), "-f", conf, "new-session", demo}, args...)
	cmd := exec.CommandContext(ctx, "tmux", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it gives the terminal back
	return cmd, nil
}
