package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

const restGroup = "at rest, 2 uplinks and 6 targets"

// restWindow is the time over which one value is measured.
const restWindow = 15 * time.Second

// rest compares an idle daemon with peers that send the same probes: bare pro-bing, and
// fping. They run at the same time, each in a lab of its own, so that other load on the
// machine affects all alike.
func (m *measurer) rest(ctx context.Context) error {
	share := &Figure{Group: restGroup, What: "processor time, of one core", Unit: "%", Floor: medianAtMost(2)}
	ratio := &Figure{Group: restGroup, What: "processor time, beside bare pro-bing", Unit: "×", Floor: medianAtMost(1.2)}
	fping := &Figure{Group: restGroup, What: "processor time, beside fping", Unit: "×"}
	memory := &Figure{Group: restGroup, What: "resident memory", Unit: "MiB", Floor: worstAtMost(25)}
	swerve, err := startGateway(ctx, m.binary)
	if err != nil {
		return err
	}
	defer swerve.Close()
	bare, stopBare, err := m.startPeer(ctx, func(l *lab.Lab) ([]*exec.Cmd, error) { return bareCommands(l) })
	if err != nil {
		return err
	}
	defer stopBare()
	pings, stopPings, err := m.startPeer(ctx, func(l *lab.Lab) ([]*exec.Cmd, error) { return fpingCommands(l) })
	if err != nil {
		return err
	}
	defer stopPings()
	daemon := []int{swerve.Pid()}
	if err := wait.Sleep(ctx, 5*time.Second); err != nil { // until starting is over
		return err
	}
	for i := range max(2, m.runs/8) {
		used, err := usedOver(ctx, restWindow, daemon, bare, pings)
		if err != nil {
			return err
		}
		share.add(100 * used[0].Seconds() / restWindow.Seconds())
		ratio.add(used[0].Seconds() / used[1].Seconds())
		fping.add(used[0].Seconds() / used[2].Seconds())
		resident, err := residentMiB(swerve.Pid(), "VmRSS")
		if err != nil {
			return err
		}
		memory.add(resident)
		m.progress("%s: %d", restGroup, i+1)
	}
	m.report.add(share, ratio, fping, memory)
	return nil
}

// startPeer runs programs in the gateway of a lab whose kernel Swerve has prepared: its
// daemon is killed, and what it leaves still keeps each probe on its uplink.
func (m *measurer) startPeer(ctx context.Context, commands func(*lab.Lab) ([]*exec.Cmd, error)) (pids []int, stop func(), err error) {
	g, err := startGateway(ctx, m.binary)
	if err != nil {
		return nil, nil, err
	}
	if err := g.Kill(); err != nil {
		g.Close()
		return nil, nil, err
	}
	all, err := commands(g.Lab)
	var started []*exec.Cmd
	stop = func() {
		g.Close() // the kernel kills what runs in the gateway
		for _, cmd := range started {
			_ = cmd.Wait() // it was killed
		}
	}
	for _, cmd := range all {
		if err == nil {
			err = g.Gateway.Start(cmd)
		}
		if err == nil {
			started = append(started, cmd)
			pids = append(pids, cmd.Process.Pid)
		}
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return pids, stop, nil
}

// fpingCommands run an fping for each uplink and family, with a probe a second to each
// target.
func fpingCommands(l *lab.Lab) (all []*exec.Cmd, err error) {
	for i := range l.Uplinks {
		for _, six := range []bool{false, true} {
			args := []string{"-q", "-l", "-p", "1000", "-t", "1000", "-I", l.Uplinks[i].Interface}
			for _, t := range lab.Targets {
				if t.Is6() == six {
					args = append(args, t.String())
				}
			}
			all = append(all, l.Gateway.Command("fping", args...))
		}
	}
	return all, nil
}

// usedOver returns the processor time that groups of processes use over span.
func usedOver(ctx context.Context, span time.Duration, groups ...[]int) ([]time.Duration, error) {
	before, err := usedBy(groups)
	if err != nil {
		return nil, err
	}
	if err := wait.Sleep(ctx, span); err != nil {
		return nil, err
	}
	after, err := usedBy(groups)
	if err != nil {
		return nil, err
	}
	for i := range after {
		if after[i] -= before[i]; after[i] <= 0 {
			return nil, fmt.Errorf("processes %v used no processor time", groups[i])
		}
	}
	return after, nil
}

func usedBy(groups [][]int) ([]time.Duration, error) {
	all := make([]time.Duration, len(groups))
	for i, pids := range groups {
		for _, pid := range pids {
			used, err := processorTime(pid)
			if err != nil {
				return nil, err
			}
			all[i] += used
		}
	}
	return all, nil
}

// processorTime is what the threads of a process have used so far: the first field of
// /proc/PID/task/TID/schedstat, in nanoseconds. The hundredths of a second in
// /proc/PID/stat are too coarse for fping.
func processorTime(pid int) (used time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read the processor time of process %d: it has no threads (%v)", pid, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the thread has ended
		}
		var ran int64
		if _, scanned := fmt.Sscan(string(text), &ran); err != nil || scanned != nil {
			return 0, fmt.Errorf("read the processor time in %s: %w", file, errors.Join(err, scanned))
		}
		used += time.Duration(ran)
	}
	return used, nil
}

// residentMiB returns a process's memory from a field of /proc/PID/status: VmRSS, all
// resident memory, or RssAnon, without the pages of the program's file.
func residentMiB(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("read %s of process %d: %w", field, pid, err)
	}
	return kib / 1024, nil
}
