ip -4 route replace default table 5364 proto 83 metric 1 via 198.51.100.1 dev wan1 onlink
ip -6 route replace default table 5364 proto 83 metric 1 via 2001:db8:2::1 dev wan1 onlink
ip -6 rule del pref 5451 from 2001:db8:1::2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -4 rule del pref 5451 from 203.0.113.2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -4 route del default table 5301 proto 83 metric 1
ip -6 route del default table 5301 proto 83 metric 1
ip -4 route del default table 5364 proto 83 metric 2
ip -6 route del default table 5364 proto 83 metric 2
ip -4 route del default table 5365 proto 83 metric 2
ip -6 route del default table 5365 proto 83 metric 2
