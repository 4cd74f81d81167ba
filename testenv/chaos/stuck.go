package main

import (
	"context"
	"regexp"
	"strings"
	"time"

	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// What is noted of a UDP stream that nothing answers for long: its flow, as the kernel
// tracks it, and what of our table counts. It shows why a flow stays where it is.
const (
	stuckAfter = 8 * time.Second
	stuckLook  = 2 * time.Second
)

// explainStuck notes the flows of streams that are stuck, until the context ends.
func (s *stage) explainStuck(ctx context.Context) {
	noted := map[*traffic.Client]time.Time{}
	for wait.Sleep(ctx, stuckLook) == nil {
		for _, c := range s.clients {
			if c.Kind != traffic.UDPStream {
				continue
			}
			last := lastAnswer(c.Log())
			if last.IsZero() || time.Since(last) < stuckAfter || noted[c.Client] == last {
				continue
			}
			noted[c.Client] = last
			family := c.family.String()
			before := s.freshFlows(family)
			if wait.Sleep(ctx, 1500*ms) != nil {
				return
			}
			for flow, whole := range s.freshFlows(family) {
				if before[flow] != "" {
					s.journal.note("%s %s is stuck: %s", c.Kind, family, whole)
				}
			}
			counters, _ := s.lab.Gateway.Run("sh", "-c", "nft list counters table inet swerve | tr -d '\\n\\t' | sed 's/}/}\\n/g' | grep -E 'stray|guard|hold' | tr '\\n' ' '; ip -4 rule | wc -l; ip -4 route show table all proto 83 | tr '\\n' ';'")
			s.journal.note("then: %s", counters)
		}
	}
}

// lastAnswer is when a request was last answered.
func lastAnswer(log []traffic.Request) (at time.Time) {
	for i := len(log) - 1; i >= 0; i-- {
		if !log[i].Answered.IsZero() {
			return log[i].Answered
		}
	}
	return at
}

var flowTimeout = regexp.MustCompile(`^udp +17 +(29|30|1[12][0-9]) `)

// freshFlows returns the UDP flows to the server that a packet was seen of just now.
func (s *stage) freshFlows(family string) map[string]string {
	out := map[string]string{}
	list, _ := s.lab.Gateway.Run("conntrack", "-L", "-p", "udp", "-f", family, "--orig-port-dst", "7007")
	for line := range strings.Lines(list) {
		if flowTimeout.MatchString(line) {
			out[flowTimeout.ReplaceAllString(line, "")] = strings.TrimSpace(line)
		}
	}
	return out
}
