package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"swerve/lane"
	"swerve/testenv/lab"
)

// bareFlag makes this program bare pro-bing, for the arguments that follow it: device,
// source, packet mark and target.
const bareFlag = "-bare-pro-bing"

// bareCommands run this program itself as bare pro-bing with the probes that the daemon
// sends: a second's probes spread over the second.
func bareCommands(l *lab.Lab) ([]*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{bareFlag}
	for i, u := range l.Uplinks {
		for _, t := range lab.Targets {
			source := u.Address4
			if t.Is6() {
				source = u.Address6
			}
			mark := lane.DefaultLayout.Mark(lane.FirstUplink + lane.Lane(i))
			args = append(args, strings.Join([]string{u.Interface, source.String(), fmt.Sprint(mark), t.String()}, ","))
		}
	}
	return []*exec.Cmd{l.Gateway.Command(self, args...)}, nil
}

// bare sends each probe once a second, with a pinger for each, until it is killed.
func bare(probes []string) error {
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(len(probes)))
	for i := 0; ; i++ {
		<-tick.C
		p, err := barePinger(strings.Split(probes[i%len(probes)], ","))
		if err != nil {
			return err
		}
		all.Go(func() { _ = p.RunWithContext(context.Background()) })
	}
}

func barePinger(probe []string) (*probing.Pinger, error) {
	mark, err := strconv.ParseUint(probe[2], 10, 32)
	if err != nil {
		return nil, err
	}
	p := probing.New(probe[3])
	p.InterfaceName, p.Source = probe[0], probe[1]
	p.SetMark(uint(mark))
	p.Count, p.Timeout = 1, 1500*time.Millisecond
	p.RecordRtts, p.RecordTTLs = false, false
	return p, nil
}
