-- name: settings_of_product
-- Reads the fleet settings of one product.
SELECT settings FROM fleet_settings WHERE product = :product;

-- name: all_settings
-- Lists the fleet settings of every product that has some.
SELECT product, settings FROM fleet_settings ORDER BY product;

-- name: put_settings
-- Stores the fleet settings of a product.
INSERT INTO fleet_settings (product, settings, changed_by, changed_at)
VALUES (:product, :settings, :who, :now)
ON CONFLICT (product) DO UPDATE SET
    settings = excluded.settings,
    changed_by = excluded.changed_by,
    changed_at = excluded.changed_at;
