ip -6 rule del pref 32765 lookup 5364 protocol 83
ip -6 rule del pref 32764 lookup main suppress_prefixlength 0 protocol 83
ip -6 rule del pref 5652 oif wan1 protocol 83 unreachable
ip -6 rule del pref 5651 oif wan0 protocol 83 unreachable
ip -6 rule del pref 5552 oif wan1 lookup 5302 protocol 83
ip -6 rule del pref 5551 oif wan0 lookup 5301 protocol 83
ip -6 rule del pref 5452 from 2001:db8:2::2 fwmark 0/0xffffffff lookup 5302 protocol 83
ip -6 rule del pref 5451 from 2001:db8:1::2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -6 rule del pref 5366 fwmark 0x42000000/0x7f000000 lookup 5366 protocol 83
ip -6 rule del pref 5365 fwmark 0x41000000/0x7f000000 lookup 5365 protocol 83
ip -6 rule del pref 5364 fwmark 0x40000000/0x7f000000 lookup 5364 protocol 83
ip -6 rule del pref 5302 fwmark 0x02000000/0x7f000000 lookup 5302 protocol 83
ip -6 rule del pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301 protocol 83
ip -6 rule del pref 5300 lookup main suppress_prefixlength 1 protocol 83
ip -6 route del default table 5301 proto 83 metric 1
ip -6 route del default table 5302 proto 83 metric 1
ip -6 route del default table 5364 proto 83 metric 2
ip -6 route del default table 5364 proto 83 metric 1
ip -6 route del default table 5365 proto 83 metric 2
ip -6 route del default table 5365 proto 83 metric 1
ip -6 route del unreachable default table 5366 proto 83 metric 9999
ip -6 route del default table 5366 proto 83 metric 1
