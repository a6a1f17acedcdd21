"""RabbitMQ as broker: it carries hints that runs are waiting; the ledger keeps their order and their states."""
