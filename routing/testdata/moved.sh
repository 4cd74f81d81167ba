ip -4 route replace default table 5301 proto 83 metric 1 via 203.0.113.129 dev wan7 onlink
ip -4 route replace default table 5364 proto 83 metric 1 via 203.0.113.129 dev wan7 onlink
ip -6 route replace default table 5301 proto 83 metric 1 via 2001:db8:1::1 dev wan7 onlink
ip -6 route replace default table 5364 proto 83 metric 1 via 2001:db8:1::1 dev wan7 onlink
ip -4 route replace default table 5365 proto 83 metric 2 via 203.0.113.129 dev wan7 onlink
ip -6 route replace default table 5365 proto 83 metric 2 via 2001:db8:1::1 dev wan7 onlink
ip -4 rule add pref 5451 from 203.0.113.130 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -4 rule add pref 5551 oif wan7 lookup 5301 protocol 83
ip -4 rule add pref 5651 oif wan7 protocol 83 unreachable
ip -6 rule add pref 5551 oif wan7 lookup 5301 protocol 83
ip -6 rule add pref 5651 oif wan7 protocol 83 unreachable
ip -6 rule del pref 5651 oif wan0 protocol 83 unreachable
ip -6 rule del pref 5551 oif wan0 lookup 5301 protocol 83
ip -4 rule del pref 5651 oif wan0 protocol 83 unreachable
ip -4 rule del pref 5551 oif wan0 lookup 5301 protocol 83
ip -4 rule del pref 5451 from 203.0.113.2 fwmark 0/0xffffffff lookup 5301 protocol 83
