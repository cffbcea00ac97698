"""The bench: what runs experiments and reports them. The method never imports it."""
