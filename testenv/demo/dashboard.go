package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/wait"
)

// answerTime is how long the demo waits for an answer to its question.
const answerTime = 8 * time.Second

// wanted reports whether to show the dashboard, by the flag's value: yes, no, or ask
// on a terminal that has room for it. An obstacle is an error only if the flag says yes.
func wanted(ctx context.Context, flag string) (bool, error) {
	if flag == "no" {
		return false, nil
	}
	columns, rows, obstacle := terminal()
	switch {
	case flag == "yes":
		return obstacle == nil, obstacle
	case flag != "ask":
		return false, fmt.Errorf("-dashboard is %q; want ask, yes or no", flag)
	case obstacle != nil:
		return false, nil
	}
	if _, _, fits := split(columns, rows); !fits {
		return false, nil
	}
	fmt.Printf("Show the dashboard (swerve tui) beside the timeline? [y/N, no in %.0f s] ", answerTime.Seconds())
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return isYes(ctx, os.Stdin), nil
}

// terminal returns the terminal's size, or the reason why it cannot show a dashboard.
func terminal() (columns, rows int, obstacle error) {
	for _, f := range []*os.File{os.Stdin, os.Stdout} {
		ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0, 0, fmt.Errorf("show the dashboard: %s is not a terminal", f.Name())
		}
		columns, rows = int(ws.Col), int(ws.Row)
	}
	if kind := os.Getenv("TERM"); kind == "" || kind == "dumb" {
		return 0, 0, fmt.Errorf("show the dashboard: TERM is %q", kind)
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		return 0, 0, errors.New("show the dashboard: tmux is missing; sudo apt-get install tmux")
	}
	return columns, rows, nil
}

// isYes reads one line and reports whether it says yes. No line before ctx ends is a no.
func isYes(ctx context.Context, in io.Reader) bool {
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // an incomplete line is no answer
		answer <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Print("\n\n")
		return false
	case line := <-answer:
		fmt.Println()
		word, whole := strings.CutSuffix(strings.ToLower(line), "\n")
		word = strings.TrimSpace(word)
		return whole && (word == "y" || word == "yes")
	}
}

// split returns how tmux(1) has to split a terminal, and the resulting size of the
// dashboard. It does not fit if one of the two panes would be too small: a line of the
// timeline seldom has more than 120 columns, and the dashboard needs 80 by 24.
func split(columns, rows int) (direction string, size int, fits bool) {
	if columns >= 200 {
		return "-h", max(80, columns/2-20), rows >= 24
	}
	return "-v", max(24, rows/2), columns >= 80 && rows >= 40
}

// panes are the demo's own tmux server, which shows the timeline in one pane and the
// dashboard in another. It ends with its terminal and with this process.
type panes struct {
	timeline *os.File // what the one pane shows
	client   *exec.Cmd
	ended    chan struct{} // closed when the client has ended
}

// panesConf leaves nothing but the panes on the terminal. The server ends with the
// terminal, and with the first pane, which has the timeline.
const panesConf = `set -g destroy-unattached on
set -g status off
set -g set-clipboard off
set -g escape-time 0
set-hook -g pane-exited 'if -F "#{==:#{hook_pane},%0}" kill-server'
`

// openPanes starts tmux on this terminal, with its files in a folder. It calls closed
// when tmux has ended, because the user ended it or it failed.
func openPanes(folder string, closed func()) (*panes, error) {
	conf := filepath.Join(folder, "conf")
	if err := os.WriteFile(conf, []byte(panesConf), 0o600); err != nil {
		return nil, fmt.Errorf("show the dashboard: %w", err)
	}
	f, err := os.Create(filepath.Join(folder, "timeline"))
	if err != nil {
		return nil, fmt.Errorf("show the dashboard: %w", err)
	}
	p := &panes{timeline: f, ended: make(chan struct{})}
	p.client = p.tmux("-f", conf, "new-session", "tail", "-n", "+1", "-f", f.Name())
	p.client.Stdin, p.client.Stdout, p.client.Stderr = os.Stdin, os.Stdout, os.Stderr
	p.client.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel sends the signal when this thread ends
		err := p.client.Start()
		started <- err
		if err == nil {
			_ = p.client.Wait() // it reports its errors on standard error
			close(p.ended)
			closed()
		}
	}()
	if err := <-started; err != nil {
		f.Close()
		return nil, fmt.Errorf("show the dashboard: %w", err)
	}
	return p, nil
}

// tmux prepares a command for the server; the demo itself may run in another tmux.
func (p *panes) tmux(args ...string) *exec.Cmd {
	socket := filepath.Join(filepath.Dir(p.timeline.Name()), "tmux")
	cmd := exec.Command("tmux", append([]string{"-u", "-S", socket}, args...)...)
	cmd.Env = append(os.Environ(), "TMUX=")
	return cmd
}

// add shows swerve tui beside or under the timeline.
func (p *panes) add(ctx context.Context, binary, socket string) error {
	columns, rows, err := terminal()
	if err != nil {
		return err
	}
	direction, size, _ := split(columns, rows)
	return wait.Until(ctx, "tmux to show the dashboard", func() bool {
		return p.tmux("-N", "split-window", "-d", direction, "-l", fmt.Sprint(size), binary, "tui", "--socket", socket).Run() == nil
	})
}

// close ends tmux and prints the timeline on the terminal, from which tmux has removed
// what it drew.
func (p *panes) close() {
	_ = p.tmux("-N", "kill-server").Run() // it may have ended already
	_ = p.client.Process.Signal(syscall.SIGTERM)
	<-p.ended
	if _, err := p.timeline.Seek(0, io.SeekStart); err == nil {
		_, _ = io.Copy(os.Stdout, p.timeline) // to the terminal, if that is still there
	}
	p.timeline.Close()
}
