"""RabbitMQ as broker: it carries hints that runs wait, and the ledger keeps the order and the truth."""
