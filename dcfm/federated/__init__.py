"""Silos on machines of their own: the trainings of :mod:`dcfm.decentralized` as a Flower app.

A SuperNode owns one silo's data and trains on it with the trainers that the rest of the package uses; the ServerApp
owns none and decides who is asked for what. One message is one phase of training. What is in a message is one of the
kinds of :mod:`dcfm.exchange`, nothing else.

    settings      what is configured, from one string of hydra overrides
    tasks         what a kind of problem has to bring along
    silo_files    a silo's data on its own disk
    parcels       what a Flower message contains
    counts        label histograms that hide small counts
    client        the ClientApp: a silo
    members       the server's view of the silos: who is there, who is asked, who is dropped
    strategies    silos as the nodes of Flower's strategies; FedFlow as one
    protocols     FedFlow, DCFM-A, DCFM-B
    server        the ServerApp
    certificates  TLS and keys of nodes
    processes     SuperLink and SuperNodes on this machine

Flower is the optional extra ``federated``.
"""
